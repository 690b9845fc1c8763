"""Lists everything in a folder, one line per entry. Shares no code with the program under test."""

import hashlib
import os
import stat
import sys

exact = sys.argv[2] == "exact"
root = sys.argv[1].encode()
names = [b"."]
for folder, folders, files in os.walk(root):
    names += [os.path.relpath(os.path.join(folder, name), root) for name in folders + files]
first = {}
for name in sorted(names):
    path = os.path.join(root, name)
    meta = os.lstat(path)
    kind = stat.S_IFMT(meta.st_mode)
    content = ""
    if stat.S_ISREG(meta.st_mode):
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        content = digest.hexdigest()
    elif stat.S_ISLNK(meta.st_mode):
        content = os.readlink(path)
    same = name
    if meta.st_nlink > 1 and not stat.S_ISDIR(meta.st_mode):
        same = first.setdefault(meta.st_ino, name)
    # The archives of the engine have times in seconds and no extended attributes.
    time = meta.st_mtime_ns if exact else meta.st_mtime_ns // 10**9
    attributes = []
    if exact:
        attributes = [(key, os.getxattr(path, key, follow_symlinks=False)) for key in sorted(os.listxattr(path, follow_symlinks=False))]
    print(name, oct(meta.st_mode), meta.st_uid, meta.st_gid, time, meta.st_rdev, content, same, attributes)
