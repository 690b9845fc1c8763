"""Fills a folder with every kind of file system entry. Arguments: the folder, and the number of small files."""

import os
import sys

root, count = sys.argv[1], int(sys.argv[2])
os.makedirs(root, exist_ok=True)
os.chdir(root)


def write(name, content=b"x", mode=0o644, owner=(0, 0), time=1_600_000_000_123_456_789):
    with open(name, "wb") as file:
        file.write(content)
    os.chown(name, *owner)
    os.chmod(name, mode)
    os.utime(name, ns=(time, time))


write("plain", b"hello\n", 0o640, (1000, 1001))
write("empty", b"")
write("secret", b"root alone\n", 0o600)
write("setuid", b"#!\n", 0o6755, (33, 33))
write("n" * 255)
write("blank and 'quote' and \n newline")
write("äöü-日本-\N{PILE OF POO}")
write(b"not-utf8-\xff\xfe")
write("first", b"one file", 0o664, (7, 8))
os.link("first", "second")
os.mkdir("deep", 0o2750)
os.link("first", "deep/third")
os.symlink("plain", "link")
os.symlink("nowhere/at/all", "dangling")
os.symlink("/etc/passwd", "absolute")
os.lchown("link", 12, 13)
os.mkfifo("pipe", 0o620)
os.chown("pipe", 5, 6)
path = "deep"
for level in range(60):
    path += f"/level-{level}"
    os.mkdir(path)
write(path + "/bottom")
os.mkdir("sticky")
os.chmod("sticky", 0o1777)
with open("sparse", "wb") as file:
    file.seek(50 << 20)
    file.write(b"middle")
    file.truncate(100 << 20)
os.setxattr("plain", "user.note", b"kept \x00 whole")
os.setxattr("deep", "user.folder", b"yes")
write("blocks", os.urandom(3 << 20))
os.mkdir("many")
for number in range(count):
    if number % 1000 == 0:
        os.mkdir(f"many/{number}")
    with open(f"many/{number - number % 1000}/{number}", "w") as file:
        file.write(f"{number}\n" * (number % 7))
os.chown(".", 1234, 1235)
os.chmod(".", 0o751)
os.utime("deep", ns=(1_500_000_000_000_000_001, 1_500_000_000_000_000_001))
os.utime(".", ns=(1_400_000_000_000_000_001, 1_400_000_000_000_000_001))
