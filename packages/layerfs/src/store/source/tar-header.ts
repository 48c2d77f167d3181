/** Writes tar headers: POSIX ustar with PAX records where a value does not fit (POSIX.1-2017, pax). */

/** What a header says. Strings are latin1 byte strings; times in seconds and nanoseconds. */
export interface TarHeaderFields {
  readonly path: string;
  readonly type: '0' | '1' | '2' | '3' | '4' | '5' | '6';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of data that follow. */
  readonly size: number;
  readonly mtimeSec: number;
  readonly mtimeNsec?: number;
  readonly linkname?: string;
  readonly devmajor?: number;
  readonly devminor?: number;
  /** More PAX records, as they are. */
  readonly pax?: readonly (readonly [key: string, value: string])[];
}

const BLOCK = 512;

/** The header blocks of one entry, PAX ones in front. */
export function tarHeader(fields: TarHeaderFields): Buffer {
  const records: (readonly [string, string])[] = [];
  const split = splitName(fields.path);
  if (split === undefined) records.push(['path', fields.path]);
  const linkname = fields.linkname ?? '';
  if (linkname.length > 100) records.push(['linkpath', linkname]);
  if (fields.size > 0o77777777777) records.push(['size', String(fields.size)]);
  if (fields.uid > 0o7777777) records.push(['uid', String(fields.uid)]);
  if (fields.gid > 0o7777777) records.push(['gid', String(fields.gid)]);
  const nsec = fields.mtimeNsec ?? 0;
  if (nsec !== 0 || fields.mtimeSec < 0 || fields.mtimeSec > 0o77777777777) {
    records.push(['mtime', paxTime(fields.mtimeSec, nsec)]);
  }
  records.push(...(fields.pax ?? []));
  const [prefix, name] = split ?? ['', fields.path.slice(0, 100)];
  const header = block(fields, name, prefix, fields.type, fields.size);
  if (records.length === 0) return header;
  const body = Buffer.from(records.map(([key, value]) => paxRecord(key, value)).join(''), 'latin1');
  const pax = block({ ...fields, linkname: '', mode: 0o644 }, 'PaxHeader', '', 'x', body.length);
  return Buffer.concat([pax, body, padding(body.length), header]);
}

/** Zeros from the end of `size` bytes to the next block. */
export function padding(size: number): Buffer {
  return Buffer.alloc(-size & (BLOCK - 1));
}

/** The end mark. */
export const TAR_END: Buffer = Buffer.alloc(2 * BLOCK);

function block(fields: TarHeaderFields, name: string, prefix: string, type: string, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100, 'latin1');
  octal(header, 100, 8, fields.mode & 0o7777);
  octal(header, 108, 8, fields.uid);
  octal(header, 116, 8, fields.gid);
  octal(header, 124, 12, size);
  octal(header, 136, 12, Math.max(0, fields.mtimeSec));
  header.write(type, 156, 'latin1');
  header.write((fields.linkname ?? '').slice(0, 100), 157, 100, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  octal(header, 329, 8, fields.devmajor ?? 0);
  octal(header, 337, 8, fields.devminor ?? 0);
  header.write(prefix, 345, 155, 'latin1');
  header.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

// A value that does not fit is 0 here and has a PAX record.
function octal(header: Buffer, at: number, length: number, value: number): void {
  const text = value.toString(8);
  header.write((text.length < length ? text : '0').padStart(length - 1, '0'), at, 'latin1');
}

/** A path as prefix and name of a ustar header; undefined when it does not fit. */
function splitName(path: string): [prefix: string, name: string] | undefined {
  if (path.length <= 100) return ['', path];
  for (
    let slash = path.indexOf('/', path.length - 101);
    slash > 0 && slash <= 155;
    slash = path.indexOf('/', slash + 1)
  ) {
    if (slash === path.length - 1) return undefined;
    return [path.slice(0, slash), path.slice(slash + 1)];
  }
  return undefined;
}

function paxTime(seconds: number, nanoseconds: number): string {
  // Below zero the fraction counts away from zero: -1.5 is second -2 and half a second.
  if (seconds >= 0 || nanoseconds === 0) return decimal(String(seconds), nanoseconds);
  return seconds === -1 ? decimal('-0', 1e9 - nanoseconds) : decimal(String(seconds + 1), 1e9 - nanoseconds);
}

function decimal(seconds: string, nanoseconds: number): string {
  const fraction = String(nanoseconds).padStart(9, '0').replace(/0+$/, '');
  return fraction === '' ? seconds : `${seconds}.${fraction}`;
}

/** One record: its own length in decimal, then `key=value` and a newline. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
}
