/**
 * A tar writer for tests: every field of every header can be set, also to what no sane program would write.
 *
 * It shares no code with the parser it tests, so a misreading of the format cannot cancel itself out.
 * Names, link targets and xattr names are latin1 strings, one char a byte.
 */

const BLOCK = 512;

/** One entry as it should be found by a reader. */
export interface TarEntry {
  name: string;
  /** Type flag; default '0', or '5' when the name ends in '/'. */
  type?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  /** Seconds; negative and fractional values are written in the way `form` asks for. */
  mtime?: number | string;
  linkname?: string;
  data?: Uint8Array | string;
  /** Size field of the header, when it should differ from the data's length. */
  size?: number | bigint;
  major?: number;
  minor?: number;
  /** Written as PAX records SCHILY.xattr.NAME. */
  xattrs?: Record<string, Uint8Array | string>;
  /** More PAX records, before the automatic ones. */
  pax?: Record<string, Uint8Array | string>;
  /** PAX records `key=value` that may repeat a key, after `pax`. */
  repeatedPax?: string[];
  /** Where what does not fit the ustar fields goes: PAX records (default), GNU headers and base-256 numbers, or nowhere (v7: no magic). */
  form?: 'pax' | 'gnu' | 'ustar' | 'v7';
  /** Last word: change the finished header; the checksum is computed after it unless it is `keepChecksum`. */
  patch?: (header: Uint8Array) => void;
  keepChecksum?: boolean;
}

/** latin1 string or bytes to bytes. */
export function bytesOf(value: Uint8Array | string): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
}

/** One PAX record, `length key=value\n`, the length counting itself. */
export function paxRecord(key: string, value: Uint8Array | string): Uint8Array {
  const body = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), bytesOf(value), Buffer.from('\n')]);
  let digits = 1;
  while (String(body.length + digits).length > digits) digits++;
  return Buffer.concat([Buffer.from(String(body.length + digits)), body]);
}

function putString(header: Uint8Array, offset: number, length: number, value: string): void {
  header.set(Buffer.from(value.slice(0, length), 'latin1'), offset);
}

function fitsOctal(value: bigint, length: number): boolean {
  return value >= 0n && value < 8n ** BigInt(length - 1);
}

/** Octal with a closing NUL, or GNU's base-256 when it does not fit. */
export function putNumber(header: Uint8Array, offset: number, length: number, value: bigint): void {
  if (fitsOctal(value, length)) {
    putString(header, offset, length, value.toString(8).padStart(length - 1, '0'));
    return;
  }
  let rest = BigInt.asUintN(length * 8, value);
  for (let at = offset + length - 1; at >= offset; at--) {
    header[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  header[offset] = (header[offset] & 0x7f) | 0x80 | (value < 0n ? 0xc0 : 0);
}

/** Writes the checksum field for the header's present bytes. */
export function putChecksum(header: Uint8Array): void {
  header.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of header) sum += byte;
  putString(header, 148, 8, sum.toString(8).padStart(6, '0') + '\0 ');
}

/** Zero bytes up to the next block border. */
export function padding(length: number): Uint8Array {
  return new Uint8Array((BLOCK - (length % BLOCK)) % BLOCK);
}

function splitPrefix(name: string): [prefix: string, name: string] | undefined {
  if (name.length <= 100) return ['', name];
  for (let at = name.indexOf('/'); at !== -1 && at <= 155; at = name.indexOf('/', at + 1)) {
    if (name.length - at - 1 <= 100 && at + 1 < name.length) return [name.slice(0, at), name.slice(at + 1)];
  }
  return undefined;
}

function extension(type: string, name: string, data: Uint8Array): Uint8Array[] {
  return [plainHeader({ name, type, mode: 0o644, size: data.length, form: 'pax' }), data, padding(data.length)];
}

function plainHeader(entry: TarEntry): Uint8Array {
  const header = new Uint8Array(BLOCK);
  const form = entry.form ?? 'pax';
  const [prefix, name] = (form === 'v7' || form === 'gnu' ? undefined : splitPrefix(entry.name)) ?? ['', entry.name];
  const clamp = (value: bigint, length: number): bigint => (form === 'gnu' || fitsOctal(value, length) ? value : 0n);
  putString(header, 0, 100, name);
  putNumber(header, 100, 8, BigInt(entry.mode ?? 0o644));
  putNumber(header, 108, 8, clamp(BigInt(entry.uid ?? 0), 8));
  putNumber(header, 116, 8, clamp(BigInt(entry.gid ?? 0), 8));
  putNumber(header, 124, 12, clamp(BigInt(entry.size ?? 0), 12));
  putNumber(header, 136, 12, clamp(BigInt(Math.floor(Number(entry.mtime ?? 0))), 12));
  putString(header, 156, 1, entry.type ?? '0');
  putString(header, 157, 100, entry.linkname ?? '');
  if (form !== 'v7') {
    putString(header, 257, 8, form === 'gnu' ? 'ustar  \0' : 'ustar\x0000');
    if (entry.type === '3' || entry.type === '4') {
      putNumber(header, 329, 8, BigInt(entry.major ?? 0));
      putNumber(header, 337, 8, BigInt(entry.minor ?? 0));
    }
    if (form !== 'gnu') putString(header, 345, 155, prefix);
  }
  entry.patch?.(header);
  if (entry.keepChecksum !== true) putChecksum(header);
  return header;
}

function paxRecords(entry: TarEntry): Uint8Array[] {
  const records = Object.entries(entry.pax ?? {}).map(([key, value]) => paxRecord(key, value));
  for (const record of entry.repeatedPax ?? []) {
    const equals = record.indexOf('=');
    records.push(paxRecord(record.slice(0, equals), record.slice(equals + 1)));
  }
  const need = (key: string, value: string): void => {
    if (entry.pax?.[key] === undefined) records.push(paxRecord(key, value));
  };
  if ((entry.form ?? 'pax') === 'pax') {
    if (splitPrefix(entry.name) === undefined) need('path', entry.name);
    if ((entry.linkname ?? '').length > 100) need('linkpath', entry.linkname!);
    if (!fitsOctal(BigInt(entry.uid ?? 0), 8)) need('uid', String(entry.uid));
    if (!fitsOctal(BigInt(entry.gid ?? 0), 8)) need('gid', String(entry.gid));
    if (!fitsOctal(BigInt(entry.size ?? 0), 12)) need('size', String(entry.size));
    const mtime = entry.mtime ?? 0;
    if (typeof mtime === 'string' || mtime < 0 || !Number.isInteger(mtime)) need('mtime', String(mtime));
  }
  for (const [name, value] of Object.entries(entry.xattrs ?? {}))
    records.push(paxRecord(`SCHILY.xattr.${name}`, value));
  return records;
}

/** The bytes of one entry: extension headers, header, data, padding. */
export function tarEntry(given: TarEntry): Uint8Array[] {
  const data = bytesOf(given.data ?? '');
  const entry = {
    ...given,
    type: given.type ?? (given.name.endsWith('/') ? '5' : '0'),
    size: given.size ?? data.length,
  };
  const parts: Uint8Array[] = [];
  if (entry.form === 'gnu') {
    if (entry.name.length > 100) parts.push(...extension('L', '././@LongLink', bytesOf(entry.name + '\0')));
    if ((entry.linkname ?? '').length > 100)
      parts.push(...extension('K', '././@LongLink', bytesOf(entry.linkname + '\0')));
  }
  const records = paxRecords(entry);
  if (records.length > 0) parts.push(...extension('x', 'PaxHeaders/entry', Buffer.concat(records)));
  parts.push(plainHeader(entry), data, padding(data.length));
  return parts;
}

/** A PAX global header (type 'g'). */
export function globalHeader(records: Record<string, string>): Uint8Array[] {
  return extension('g', 'pax_global_header', Buffer.concat(Object.entries(records).map(([k, v]) => paxRecord(k, v))));
}

/** A whole small tar in memory: the entries (or raw pieces) and the two closing zero blocks. */
export function tarOf(...pieces: (TarEntry | Uint8Array | Uint8Array[])[]): Buffer {
  const parts = pieces.flatMap((piece) =>
    piece instanceof Uint8Array ? [piece] : Array.isArray(piece) ? piece : tarEntry(piece),
  );
  return Buffer.concat([...parts, new Uint8Array(2 * BLOCK)]);
}
