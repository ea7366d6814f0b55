/* Keeps a program from addressing the internet: preloaded into every supervised program. It binds
 * those that make their system calls through libc; Go's (livekit-server, Caddy) make their own.
 *
 * libwebrtc, inside LiveKit's client, finds its own address by connecting a UDP socket to a public
 * name server. No packet is sent by that, but a box that promises silence must not even try, and it
 * cannot be switched off there. Public and multicast destinations are refused here as if no route
 * led to them; loopback, private and link-local ones and the machine's own addresses pass.
 *
 * Build: cc -O2 -shared -fPIC -o earshot-seal.so seal.c -ldl
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int private4(uint32_t a) {
    return (a >> 24) == 127 || (a >> 24) == 10 || (a >> 20) == 0xac1 || (a >> 16) == 0xc0a8 ||
           (a >> 16) == 0xa9fe || a == 0;
}

static int private6(const struct in6_addr *a) {
    static const struct in6_addr any = IN6ADDR_ANY_INIT, loopback = IN6ADDR_LOOPBACK_INIT;
    return !memcmp(a, &any, sizeof *a) || !memcmp(a, &loopback, sizeof *a) ||
           (a->s6_addr[0] & 0xfe) == 0xfc || (a->s6_addr[0] == 0xfe && (a->s6_addr[1] & 0xc0) == 0x80);
}

static int own4(uint32_t network_order) {
    struct ifaddrs *all, *i;
    int found = 0;
    if (getifaddrs(&all)) return 0;
    for (i = all; i && !found; i = i->ifa_next)
        found = i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
                ((struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr == network_order;
    freeifaddrs(all);
    return found;
}

static int own6(const struct in6_addr *a) {
    struct ifaddrs *all, *i;
    int found = 0;
    if (getifaddrs(&all)) return 0;
    for (i = all; i && !found; i = i->ifa_next)
        found = i->ifa_addr && i->ifa_addr->sa_family == AF_INET6 &&
                !memcmp(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, a, sizeof *a);
    freeifaddrs(all);
    return found;
}

static int allowed4(uint32_t network_order) {
    return private4(ntohl(network_order)) || own4(network_order);
}

static int allowed(const struct sockaddr *to, socklen_t length) {
    if (!to || length < sizeof(sa_family_t)) return 1;
    if (to->sa_family == AF_INET && length >= sizeof(struct sockaddr_in))
        return allowed4(((const struct sockaddr_in *)to)->sin_addr.s_addr);
    if (to->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)to)->sin6_addr;
        uint32_t mapped;
        if (!IN6_IS_ADDR_V4MAPPED(a)) return private6(a) || own6(a);
        memcpy(&mapped, &a->s6_addr[12], sizeof mapped);
        return allowed4(mapped);
    }
    return 1; /* unix sockets, netlink */
}

/* The offline proof names a file here, because what is refused never reaches its strace. */
static void note(const struct sockaddr *to) {
    const char *path = getenv("EARSHOT_SEAL_LOG");
    char address[INET6_ADDRSTRLEN] = "?", line[96];
    int file, size, port = 0;
    if (!path || (file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) < 0) return;
    if (to->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)to)->sin_addr, address, sizeof address);
        port = ntohs(((const struct sockaddr_in *)to)->sin_port);
    } else if (to->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)to)->sin6_addr, address, sizeof address);
        port = ntohs(((const struct sockaddr_in6 *)to)->sin6_port);
    }
    size = snprintf(line, sizeof line, "%s port %d\n", address, port);
    if (size > 0 && write(file, line, (size_t)size) < 0) { /* the refusal counts, not its note */ }
    close(file);
}

static int refuse(const struct sockaddr *to) {
    note(to);
    errno = ENETUNREACH;
    return -1;
}

int connect(int fd, const struct sockaddr *to, socklen_t length) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!allowed(to, length)) return refuse(to);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "connect");
    return real(fd, to, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t length) {
    static ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    if (!allowed(to, length)) return refuse(to);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "sendto");
    return real(fd, data, size, flags, to, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    static ssize_t (*real)(int, const struct msghdr *, int);
    if (message && !allowed(message->msg_name, message->msg_namelen))
        return refuse(message->msg_name);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "sendmsg");
    return real(fd, message, flags);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags) {
    static int (*real)(int, struct mmsghdr *, unsigned int, int);
    unsigned int i;
    for (i = 0; messages && i < count; i++)
        if (!allowed(messages[i].msg_hdr.msg_name, messages[i].msg_hdr.msg_namelen))
            return refuse(messages[i].msg_hdr.msg_name);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "sendmmsg");
    return real(fd, messages, count, flags);
}
