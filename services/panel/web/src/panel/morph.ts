/** Makes one piece of a page look like another while what is the same stays: focus, scroll, selection. */

/** Put the HTML of a fragment of our own over the content of `target`. */
export function morphInto(target: Element, html: string): void {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  morphChildren(target, fresh.content);
}

function morphChildren(old: ParentNode & Node, fresh: ParentNode & Node): void {
  // Elements with an id are found wherever they have gone, so that a list may grow at its top.
  const named = new Map<string, Element>();
  for (const child of old.children) if (child.id) named.set(child.id, child);
  let place: ChildNode | null = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const id = wanted instanceof Element ? wanted.id : "";
    let found: ChildNode | null = id ? (named.get(id) ?? null) : place;
    if (found && !alike(found, wanted)) found = null;
    if (!found) {
      old.insertBefore(wanted, place);
      continue;
    }
    if (found === place) place = place.nextSibling;
    else old.insertBefore(found, place);
    morph(found, wanted);
  }
  while (place) {
    const next: ChildNode | null = place.nextSibling;
    place.remove();
    place = next;
  }
}

function alike(old: Node, fresh: Node): boolean {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return false;
  return !(old instanceof Element && fresh instanceof Element) || old.id === fresh.id;
}

function morph(old: ChildNode, fresh: ChildNode): void {
  if (!(old instanceof Element && fresh instanceof Element)) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  morphChildren(old, fresh);
}
