"""A disk that forgets, under walrus: see tests/walrus/powerloss_preload.c."""
import os
import shutil
import subprocess

from world import TOP


def build(directory):
    path = os.path.join(directory, "powerloss.so")
    subprocess.run(["cc", "-O1", "-Wall", "-shared", "-fPIC", "-o", path,
                    os.path.join(TOP, "tests/walrus/powerloss_preload.c"), "-ldl", "-pthread"], check=True)
    return path


class Disk:
    """What of a directory would be there after a power cut."""

    def __init__(self, library, root, directory, lies=None):
        self.root, self.directory = root, directory
        self.environment = {"LD_PRELOAD": library, "POWERLOSS_ROOT": root, "POWERLOSS_DISK": directory}
        if lies:
            self.environment["POWERLOSS_LIES"] = lies

    def fill(self):
        """All that is there now is durable."""
        shutil.rmtree(self.directory, ignore_errors=True)
        for kind in ("data", "names"):
            os.makedirs(os.path.join(self.directory, kind))
        for path, directories, files in os.walk(self.root):
            with open(os.path.join(self.directory, "names", str(os.stat(path).st_ino)), "w", encoding="utf-8") as out:
                out.writelines(f"{os.lstat(os.path.join(path, n)).st_ino} {'d' if n in directories else 'f'} {n}\n"
                               for n in directories + files)
            for name in files:
                there = os.path.join(path, name)
                shutil.copy(there, os.path.join(self.directory, "data", str(os.stat(there).st_ino)))

    def cut(self):
        """The root as a machine would find it: its owner is dead."""
        made = self.root + ".after"
        self.make(os.stat(self.root).st_ino, made)
        shutil.rmtree(self.root)
        os.rename(made, self.root)

    def make(self, inode, path):
        os.mkdir(path, 0o700)
        names = os.path.join(self.directory, "names", str(inode))
        if not os.path.exists(names):
            return  # a directory whose entries were never synced
        with open(names, encoding="utf-8") as file:
            entries = [line.rstrip("\n").split(" ", 2) for line in file]
        for number, kind, name in entries:
            there = os.path.join(path, name)
            data = os.path.join(self.directory, "data", number)
            if kind == "d":
                self.make(number, there)
            elif os.path.exists(data):
                shutil.copy(data, there)
                os.chmod(there, 0o600)
            else:
                open(there, "wb").close()  # a name without its bytes
