import { readFileSync } from 'node:fs';
import { LayerfsError } from 'layerfs';

/** The ID of a group that is given by name or by number. @throws LayerfsError not-found */
export function groupID(group: string): number {
  if (/^\d{1,10}$/.test(group)) return Number(group);
  for (const line of readFileSync('/etc/group', 'utf8').split('\n')) {
    const [name, , id] = line.split(':');
    if (name === group && id !== undefined) return Number(id);
  }
  throw new LayerfsError('not-found', `There is no group ${JSON.stringify(group)} in /etc/group`);
}
