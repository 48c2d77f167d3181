import { ErrnoError, errno } from '@layerfs/linux';
import { INIT, KERNEL_MINOR_VERSION, KERNEL_VERSION } from './constants.js';
import type { Request } from './request.js';

/** What a file system asks for; a capability that the kernel does not offer is left out. */
export interface InitOptions {
  /** Bit numbers of {@link INIT}. */
  readonly capabilities: readonly number[];
  /** Largest WRITE and READ in bytes, 1 MiB unless told. */
  readonly maxWrite?: number;
  /** With INIT.PASSTHROUGH: 1 or 2, how deep filesystems may be stacked below. */
  readonly maxStackDepth?: number;
}

/** What came out of INIT. */
export interface Negotiated {
  readonly minor: number;
  /** Capabilities that both sides have. */
  readonly capabilities: ReadonlySet<number>;
  /** All that the kernel offered. */
  readonly offered: ReadonlySet<number>;
  readonly maxWrite: number;
}

/** Linux 3.5. Since 7.12 structs have their present sizes, but for INIT's and SETXATTR's; nothing older than this is tested. */
export const OLDEST_MINOR = 19;
const PAGE = 4096;

/** The kernel speaks an older protocol than we do; it is told EPROTO and asks nothing more. */
export class OldProtocol extends ErrnoError {
  /** A sentence for the user. */
  override readonly message: string;

  constructor(major: number, minor: number) {
    super(errno.EPROTO, 'fuse init');
    this.message = `This kernel speaks FUSE protocol ${major}.${minor}; at least ${KERNEL_VERSION}.${OLDEST_MINOR} (Linux 3.5) is needed`;
  }
}

function bits(low: number, high: number): Set<number> {
  const set = new Set<number>();
  for (let bit = 0; bit < 32; bit++) {
    if ((low >>> bit) & 1) set.add(bit);
    if ((high >>> bit) & 1) set.add(bit + 32);
  }
  return set;
}

/**
 * Answers INIT (struct fuse_init_in, fuse_init_out). `negotiated` is undefined when the kernel speaks a later major
 * version: it will ask again. Throws EPROTO for a kernel older than protocol 7.19.
 */
export function answerInit(
  request: Request,
  options: InitOptions,
): { reply: Uint32Array; negotiated: Negotiated | undefined } {
  const major = request.u32(0);
  const kernelMinor = request.u32(4);
  const reply = new Uint32Array(16);
  reply[0] = KERNEL_VERSION;
  reply[1] = KERNEL_MINOR_VERSION;
  if (major > KERNEL_VERSION) return { reply: reply.slice(0, 6), negotiated: undefined };
  if (major < KERNEL_VERSION || kernelMinor < OLDEST_MINOR) throw new OldProtocol(major, kernelMinor);
  const minor = Math.min(kernelMinor, KERNEL_MINOR_VERSION);
  const low = request.u32(12);
  const extended = (low & (1 << INIT.INIT_EXT)) !== 0 && request.bodyLength >= 20;
  const offered = bits(low, extended ? request.u32(16) : 0);
  const wanted = new Set(options.capabilities);
  if (extended) wanted.add(INIT.INIT_EXT);
  const capabilities = new Set([...wanted].filter((bit) => offered.has(bit)));
  // They exclude each other, and the kernel would refuse the mount.
  if (capabilities.has(INIT.WRITEBACK_CACHE)) capabilities.delete(INIT.PASSTHROUGH);
  let outLow = 0;
  let outHigh = 0;
  for (const bit of capabilities) {
    if (bit < 32) outLow |= 1 << bit;
    else outHigh |= 1 << (bit - 32);
  }
  // Without MAX_PAGES a request has at most 32 pages.
  const asked = options.maxWrite ?? 1 << 20;
  const maxWrite = capabilities.has(INIT.MAX_PAGES) ? asked : Math.min(asked, 32 * PAGE);
  reply[1] = minor;
  reply[2] = request.u32(8);
  reply[3] = outLow;
  reply[4] = 64 | (48 << 16); // max_background, congestion_threshold
  reply[5] = maxWrite;
  reply[6] = 1; // time granularity in nanoseconds
  reply[7] = capabilities.has(INIT.MAX_PAGES) ? Math.ceil(maxWrite / PAGE) : 0; // max_pages
  reply[8] = outHigh;
  reply[9] = capabilities.has(INIT.PASSTHROUGH) ? (options.maxStackDepth ?? 1) : 0;
  return {
    reply: minor < 23 ? reply.slice(0, 6) : reply,
    negotiated: { minor, capabilities, offered, maxWrite },
  };
}
