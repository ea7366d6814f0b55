// Goes on to the secure address as soon as this device trusts the box. Without it the link does the same.
const AGAIN_MS = 4_000;
const LONGEST_MS = 6_000;

const link = document.getElementById("onward");
const state = document.getElementById("trust");
const { port, names } = link.dataset;

// The name that was typed first: whoever came by it wants to stay with it.
const known = names.split(" ").includes(location.hostname);
const origins = [...new Set([...(known ? [`https://${location.hostname}:${port}`] : []), new URL(link.href).origin])];
// A join link that was typed with http arrives where it should.
const wanted = location.pathname + location.search + location.hash;
link.href = origins[0] + wanted;

async function answers(origin) {
  try {
    // Nothing of the answer can be read from here, but that there is one says that its certificate is trusted.
    await fetch(`${origin}/front/healthz`, {
      mode: "no-cors",
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(LONGEST_MS),
    });
    return true;
  } catch {
    return false;
  }
}

async function look() {
  for (const origin of document.hidden ? [] : origins) {
    if (await answers(origin)) {
      state.textContent = "This device trusts the box. Going on.";
      location.replace(origin + wanted);
      return;
    }
  }
  setTimeout(look, AGAIN_MS);
}

look();
