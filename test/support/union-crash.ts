/** Programs in python for mounts whose server is killed: one changes files and notes what it did, the other sees what is left. */

const COMMON = `
import hashlib, json, os, random, shutil, stat, sys, time
def state(path):
    """Mode, size, sha256."""
    with open(path, 'rb') as file: data = file.read()
    info = os.lstat(path)
    if info.st_size != len(data): raise AssertionError(f'{path}: stat says {info.st_size}, read {len(data)}')
    return [info.st_mode & 0o7777, len(data), hashlib.sha256(data).hexdigest()]
def walk(top):
    found = {}
    def fail(error): raise error
    for folder, _, names in os.walk(top, onerror=fail):
        for name in names:
            if not name.startswith('tmp'): found[os.path.relpath(os.path.join(folder, name), top)] = state(os.path.join(folder, name))
    return found
`;

/**
 * MOUNT STATE LOGS SEED: five processes change files below MOUNT, which has what STATE (JSON) says, until the first error. Before each change
 * one writes to its file in LOGS what will come of it, and after it that it is done. Each has files of its own. Says "ready".
 */
export const CRASH_LOAD = `${COMMON}
mount, state_file, logs, seed = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
os.umask(0o022)
known = json.load(open(state_file))
rng = random.Random(seed)
end = time.time() + 30
def at(path): return os.path.join(mount, path)
class Log:
    def __init__(self, name):
        self.fd = os.open(os.path.join(logs, name), os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    def change(self, after, action, *others):
        """after: what paths are then; others: what else may be seen when it stops in between."""
        os.write(self.fd, (json.dumps({'after': after, 'others': others}) + '\\n').encode())
        action()
        os.write(self.fd, b'"done"\\n')
        for path, value in after.items():
            if value is None: known.pop(path, None)
            else: known[path] = value
def new(data, mode=0o644): return [mode, len(data), hashlib.sha256(data).hexdigest()]
def below(folder): return sorted(path for path in known if path.startswith(folder + '/'))
def complete(path):
    """Until a server that is killed while it cuts a metacopy leaves it whole (see union-crash.test.ts), content is copied up before."""
    if os.path.exists(at(path)): os.close(os.open(at(path), os.O_RDWR))
def synced(path, data):
    complete(path)
    with open(at(path), 'wb') as file: file.write(data); file.flush(); os.fsync(file.fileno())
def fsync_folder(path):
    fd = os.open(at(path), os.O_RDONLY); os.fsync(fd); os.close(fd)

def append(log):
    os.makedirs(at('append'), exist_ok=True)
    files = {}
    for i in range(5):
        path = f'append/a{i}'
        if path not in known: log.change({path: new(b'')}, lambda: (synced(path, b''), fsync_folder('append')))
        files[path] = [os.open(at(path), os.O_RDWR | os.O_APPEND), open(at(path), 'rb').read()]
    while True:
        path = rng.choice(list(files)); entry = files[path]
        record = rng.randbytes(rng.choice([10, 100, 5000, 60000])) + b'\\n'
        entry[1] += record
        def action():
            if os.write(entry[0], record) != len(record): raise AssertionError('short write')
            os.fsync(entry[0])
        log.change({path: new(entry[1])}, action)
        if len(entry[1]) > 500000:
            log.change({path: new(b'')}, lambda: os.ftruncate(entry[0], 0)); entry[1] = b''

def rename(log):
    os.makedirs(at('rename'), exist_ok=True)
    while True:
        dice, slot = rng.random(), f'rename/r{rng.randrange(12)}'
        if dice < .4:
            data = rng.randbytes(rng.randrange(20000))
            synced('rename/tmp', data)
            log.change({slot: new(data)}, lambda: os.rename(at('rename/tmp'), at(slot)))
        elif dice < .6 and slot in known:
            other = f'rename/r{rng.randrange(12)}'
            if other != slot: log.change({other: known[slot], slot: None}, lambda: os.rename(at(slot), at(other)))
        elif dice < .7:
            # A file of the lower, over another one or to a new name.
            mine = below('files')
            if not mine: continue
            path = rng.choice(mine); other = rng.choice(mine + ['files/new'])
            if path != other: log.change({other: known[path], path: None}, lambda: os.rename(at(path), at(other)))
            if len(mine) < 5: log.change({path: new(b'again')}, lambda: synced(path, b'again'), {path: new(b'')})
        elif dice < .75:
            data = b'new in a folder'; folder = rng.choice(['moving/m0', 'moving/m1', 'rename/d'])
            if os.path.isdir(at(folder)): log.change({folder + '/x': new(data)}, lambda: synced(folder + '/x', data), {folder + '/x': new(b'')})
            elif folder == 'rename/d': os.mkdir(at(folder))
        else:
            # A folder with all that is in it.
            i = rng.randrange(6); places = [f'moving/m{i}', f'moved{i}', f'files/sub{i}']
            source = next((place for place in places if below(place)), None)
            if source is None: continue
            target = rng.choice([place for place in places if place != source])
            after = {}
            for path in below(source): after[target + path[len(source):]] = known[path]; after[path] = None
            log.change(after, lambda: os.rename(at(source), at(target)))

def chmod(log):
    while True:
        path = rng.choice(below('modes'))
        mode = rng.choice([0o600, 0o640, 0o755, 0o4755, 0o444])
        if rng.random() < .1:
            data = open(at(path), 'rb').read() + b'more'
            def action():
                with open(at(path), 'ab') as file: file.write(b'more'); file.flush(); os.fsync(file.fileno())
            # Root may write to a set-user-ID program, and keeps the bit.
            log.change({path: [known[path][0], len(data), new(data)[2]]}, action)
        else: log.change({path: [mode] + known[path][1:]}, lambda: os.chmod(at(path), mode))

def big(log):
    contents = {}
    while True:
        path = rng.choice(below('big')); dice = rng.random()
        mode, size, _ = known[path]
        if dice < .2: log.change({path: [0o600 if mode == 0o644 else 0o644] + known[path][1:]}, lambda: os.chmod(at(path), 0o600 if mode == 0o644 else 0o644))
        elif dice < .3:
            data = rng.randbytes(100)
            log.change({path: new(data, mode)}, lambda: synced(path, data), {path: new(b'', mode)})
        elif dice < .4:
            with open(at(path), 'rb') as file: data = file.read(size // 2)
            complete(path)
            log.change({path: new(data, mode)}, lambda: os.truncate(at(path), size // 2))
        else:
            with open(at(path), 'rb') as file: data = bytearray(file.read())
            where, block = rng.randrange(len(data) + 1), rng.randbytes(9)
            data[where:where + 9] = block
            def action():
                fd = os.open(at(path), os.O_RDWR); os.pwrite(fd, block, where); os.fsync(fd); os.close(fd)
            log.change({path: new(data, mode)}, action)

def remove(log):
    while True:
        dice = rng.random()
        if dice < .5:
            path = f'gone/g{rng.randrange(30)}'
            if path in known: log.change({path: None}, lambda: os.unlink(at(path)))
            else:
                data = rng.randbytes(50); log.change({path: new(data)}, lambda: synced(path, data), {path: new(b'')})
        else:
            folder = f'trees/t{rng.randrange(8)}'
            mine = below(folder)
            if os.path.isdir(at(folder)) and (not mine or dice < .8):
                for path in mine: log.change({path: None}, lambda: os.unlink(at(path)))
                for inner, folders, _ in os.walk(at(folder), topdown=False): os.rmdir(inner)
            else:
                os.makedirs(at(folder) + '/sub', exist_ok=True)
                path = folder + rng.choice(['/f0', '/sub/f1', '/fresh'])
                data = rng.randbytes(200); log.change({path: new(data)}, lambda: synced(path, data), *({path: new(b'')},))

pids = []
for worker in (append, rename, chmod, big, remove):
    pid = os.fork()
    if pid == 0:
        rng.seed(seed * 10 + len(pids))
        try: worker(Log(worker.__name__))
        except OSError as error:
            # Not connected, aborted: the server was killed. Anything else is a failure of the mount.
            if error.errno in (107, 103, 5) : os._exit(0)
            print(worker.__name__, repr(error), flush=True); os._exit(1)
        except BaseException as error:
            import traceback; traceback.print_exc(); os._exit(1)
    pids.append(pid)
print('ready', flush=True)
sys.exit(1 if any([os.waitpid(pid, 0)[1] for pid in pids]) else 0)
`;

/**
 * MOUNT STATE LOGS: compares what is in MOUNT with STATE and what the logs say was done since. What was done must be there; of what was begun it
 * must be all or nothing. STATE becomes what is there. Prints how many changes were done.
 */
export const CRASH_CHECK = `${COMMON}
mount, state_file, logs = sys.argv[1:4]
seen = walk(mount)
expected = json.load(open(state_file)) if os.path.exists(state_file) else seen
done, wrong, open_paths = 0, [], set()
for name in sorted(os.listdir(logs)) if os.path.isdir(logs) else []:
    lines = open(os.path.join(logs, name)).read().split('\\n')
    begun = None
    for line in lines[:-1]:
        entry = json.loads(line)
        if entry != 'done': begun = entry; continue
        done += 1
        for path, value in begun['after'].items():
            if value is None: expected.pop(path, None)
            else: expected[path] = value
        begun = None
    if begun is not None:
        paths = set(begun['after'])
        before = {path: expected.get(path) for path in paths}
        now = {path: seen.get(path) for path in paths}
        if now not in [before, begun['after'], *begun['others']]:
            wrong.append(f'{name}: neither before nor after: {now}; before {before}, after {begun["after"]}')
        open_paths |= paths
for path in sorted(set(seen) | set(expected)):
    if path not in open_paths and seen.get(path) != expected.get(path):
        wrong.append(f'{path}: is {seen.get(path)}, was {expected.get(path)}')
for line in wrong[:20]: print(line)
if wrong: sys.exit(1)
json.dump(seen, open(state_file, 'w'))
print(done)
`;
