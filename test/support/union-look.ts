/** What programs see of a mount that may answer with errors: each in a process of its own that is ended when it hangs. */
import { python } from './union-place.js';

const LOOK = `
import errno, json, os, stat, sys
top = sys.argv[1]
seen = {}
def name(error): return errno.errorcode.get(error.errno, str(error.errno))
def look(path):
    full = os.path.join(top, path)
    try:
        info = os.lstat(full)
        os.listxattr(full, follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode): seen[path] = '-> ' + os.readlink(full)
        elif stat.S_ISREG(info.st_mode):
            with open(full, 'rb') as file: seen[path] = file.read(40).decode('latin1')
        elif stat.S_ISDIR(info.st_mode):
            seen[path] = '/'
            children(path)
        else: seen[path] = oct(stat.S_IFMT(info.st_mode))
    except OSError as error: seen[path] = name(error)
def children(path):
    for child in sorted(os.listdir(os.path.join(top, path))): look(os.path.join(path, child))
try: children('')
except OSError as error: seen[''] = name(error)
for path in sys.argv[2:]: look(path)
print(json.dumps(seen))
`;

/** Every path with its content, target, `/`, type, or the name of the error that looking at it gave. `also`: paths that may be in no listing. */
export async function look(folder: string, also: string[] = []): Promise<Record<string, string>> {
  return JSON.parse(await python(LOOK, [folder, ...also], { seconds: 30 })) as Record<string, string>;
}
