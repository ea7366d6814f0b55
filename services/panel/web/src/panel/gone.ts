/** @returns whether one of those that were there before is missing now. */
export function gone(before: string[], now: string[]): boolean {
  return before.some((id) => !now.includes(id));
}
