// Text tables for terminals.

/** Columns as wide as their widest cell; to the right, but the last one, and the first where it names rows. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const last = head.length - 1;
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === last ? cell : cell.padStart(widths[column] as number)))
      .join('  ')
      .trimEnd();
  return all.map(line);
}
