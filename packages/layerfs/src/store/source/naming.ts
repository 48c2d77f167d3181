import { LayerfsError } from '../../core/error.js';
import { formatReference, nameFromFile, parseReference } from '../../core/oci/reference.js';

/** The name of an image that its source calls `label` (a tag, or a whole name), and whose source is called `base`. */
export function nameFor(label: string | undefined, base: string | undefined): string | undefined {
  if (label !== undefined && /[:/]/.test(label)) return wholeName(label);
  const name = base === undefined ? undefined : nameFromFile(base);
  if (name === undefined) return label === undefined ? undefined : wholeName(label);
  return wholeName(label === undefined ? name : `${name}:${label}`);
}

/** A name from a source, parsed; undefined when it is none: sources may call their images what they like. */
export function wholeName(text: string): string | undefined {
  try {
    const { name, tag } = parseReference(text);
    return formatReference({ name, tag: tag ?? 'latest' });
  } catch (error) {
    if (error instanceof LayerfsError) return undefined;
    throw error;
  }
}

/** Whether a name of the source is what the user picked: as it stands, its tag alone, or by Docker's rules. */
export function isPicked(label: string, pick: string): boolean {
  if (label === pick) return true;
  const name = wholeName(label);
  if (name === undefined) return false;
  return name === wholeName(pick) || name.slice(name.lastIndexOf(':') + 1) === pick;
}
