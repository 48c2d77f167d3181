import { constants } from 'node:os';

/** errno names to numbers, as this kernel has them (errno(3)); Node's table and the few it lacks. */
export const errno = {
  ...constants.errno,
  ENOTBLK: 15,
  ENODATA: 61,
  ESTALE: 116,
  EDQUOT: 122,
  EREMOTEIO: 121,
} as const;

const names = new Map<number, string>();
for (const [name, value] of Object.entries(errno)) if (!names.has(value)) names.set(value, name);

/** The name of an errno number: `errnoCode(2) === 'ENOENT'`; `'E123'` for one without a name here. */
export function errnoCode(value: number): string {
  return names.get(value) ?? `E${value}`;
}
