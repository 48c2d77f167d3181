import { closeSync, readFileSync } from 'node:fs';
import { Attr } from '@layerfs/fuse';
import { DT } from '@layerfs/linux';
import { latin1 } from '../../../core/bytes.js';
import type { Lower, LowerNode } from '../lower.js';

const TYPES = new Map<number, string>(Object.entries(DT).map(([name, type]) => [type, name.toLowerCase()]));

/** All paths of a lower, sorted: `folder/`, `file content`, `link -> target`, `other type`. */
export function listingOf(
  lower: Lower,
  more: (node: LowerNode) => string = () => '',
  folder: LowerNode = 1,
  prefix = '',
): string[] {
  const lines: string[] = [];
  for (let i = 0; i < lower.childCount(folder); i++) {
    const path = prefix + lower.childName(folder, i);
    const node = lower.childNode(folder, i);
    const type = lower.childType(folder, i);
    if (lower.mode(node) >> 12 !== type) throw new Error(`${path} has two types`);
    const extra = more(node);
    if (type === DT.DIR) {
      lines.push(`${path}/${extra}`, ...listingOf(lower, more, node, `${path}/`));
    } else if (type === DT.REG) lines.push(`${path} ${contentOf(lower, node)}${extra}`);
    else if (type === DT.LNK) lines.push(`${path} -> ${latin1(lower.readlink(node))}${extra}`);
    else lines.push(`${path} ${String(TYPES.get(type))}${extra}`);
  }
  return lines;
}

/** A regular file's content as latin1. */
function contentOf(lower: Lower, node: LowerNode): string {
  const attr = new Attr();
  lower.fill(node, attr);
  const fd = lower.openContent(node);
  if (fd < 0) return attr.size === 0 ? '' : 'size without content';
  try {
    return readFileSync(fd, 'latin1');
  } finally {
    closeSync(fd);
  }
}
