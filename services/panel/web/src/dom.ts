/** Finding elements of the page. */

/** The element of this id. @throws Error the page lacks it: the template and the script do not fit. */
export function element<T extends Element = HTMLElement>(id: string): T {
  const found = optional<T>(id);
  if (!found) throw new Error(`The page has no element ${id}`);
  return found;
}

/** The element of this id, if the page has it. */
export function optional<T extends Element = HTMLElement>(id: string): T | undefined {
  return (document.getElementById(id) as unknown as T | null) ?? undefined;
}
