/** New HTML into a page without taking away what the reader holds: focus, open details, selections. */

const asSent = new WeakMap<Element, string>();

/**
 * Make `old` look like `fresh`. Parts are told apart by their ids; one without change stays as it is.
 * @param changed told about every part that was put in.
 */
export function merge(old: Element, fresh: Element, changed: (part: Element) => void): void {
  if (!inParts(old) || !inParts(fresh)) {
    const html = fresh.innerHTML;
    if ((asSent.get(old) ?? old.innerHTML) === html) return;
    old.replaceChildren(...fresh.childNodes);
    asSent.set(old, html);
    changed(old);
    return;
  }
  const known = new Map([...old.children].map((child) => [child.id, child]));
  for (const child of [...old.children]) {
    if (![...fresh.children].some((one) => one.id === child.id)) child.remove();
  }
  [...fresh.children].forEach((child, place) => {
    const before = known.get(child.id);
    if (before) {
      merge(before, child, changed);
      if (old.children[place] !== before) old.insertBefore(before, old.children[place] ?? null);
      return;
    }
    old.insertBefore(child, old.children[place] ?? null);
    changed(child);
  });
}

function inParts(element: Element): boolean {
  return element.children.length > 0 && [...element.children].every((child) => child.id !== "");
}
