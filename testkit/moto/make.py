"""Makes the environment that moto runs in, unless it is there, and prints the path of its python.

    python3 make.py DIRECTORY

The environment is a folder in DIRECTORY, named after what it holds. It is made beside its place and renamed, so that
nobody sees a half of one, and under a lock, so that tests that start at once make it once.
"""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import venv

MOTO = "5.2.5"
REQUIREMENTS = pathlib.Path(__file__).with_name("requirements.txt")


def make(place):
    half = place.with_name(place.name + ".half")
    # Leftovers of a killed run; only the holder of the lock touches them.
    shutil.rmtree(half, ignore_errors=True)
    venv.create(half, with_pip=True)
    # Without a wheel it would need a compiler, which may be missing.
    pip = [half / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--only-binary=:all:", "--require-hashes", "--requirement", REQUIREMENTS],
        check=True,
        stdout=sys.stderr,
    )
    os.rename(half, place)


def main(directory):
    directory = pathlib.Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    interpreter = f"{sys.version_info.major}.{sys.version_info.minor}"
    content = hashlib.sha256(REQUIREMENTS.read_bytes() + interpreter.encode()).hexdigest()
    place = directory / f"moto-{MOTO}-{content[:8]}"
    if not place.is_dir():
        with open(directory / "moto.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.is_dir():
                make(place)
    # Programs of the environment contain the path of their creation; its python does not.
    print(place / "bin" / "python")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"cannot make an environment for moto: {error}")
