#!/usr/bin/env python3
"""Builds what the Dockerfile builds, by its own commands, and proves that the binary needs nothing that the final
image lacks. No container engine is needed.

The RUN lines with cargo run in target/image/build, which holds only what COPY takes. Then the binary runs alone with
the libraries of the final image, as its user: it starts, takes a report, and is asked for its health.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "image"
# What gcr.io/distroless/cc-debian12 has beside OpenSSL, which nothing here uses; its glibc is 2.36.
LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1",
             "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
GLIBC = (2, 36)
USER = 65532


def instructions():
    """The Dockerfile as pairs of an instruction and its argument; comments and line ends inside are gone."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [line.split(None, 1) for line in text.splitlines() if line.strip()]


def build():
    """The build stage: COPY and those RUN lines that are about the sources."""
    place = WORK / "build"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    # What the dependencies compile to is that of any other release build here.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target")}
    stages = 0
    for word, argument in instructions():
        stages += word == "FROM"
        if stages > 1:
            break
        if word == "COPY":
            *sources, target = argument.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place / target)
                else:
                    shutil.copy(ROOT / source, place / target)
        elif word == "RUN" and "apt-get" not in argument and "/image/" not in argument:
            print("RUN", argument, flush=True)
            subprocess.run(["sh", "-ec", argument], cwd=place, env=environment, check=True)
    return ROOT / "target" / "release" / "kaneda"


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check_needs(binary):
    """Its libraries by name, and the newest glibc it asks for."""
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-dW", binary)))
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", output("readelf", "-VW", binary))
    newest = max((int(major), int(minor)) for major, minor in versions)
    print("needs", ", ".join(sorted(needed)), "and glibc", "%d.%d" % newest)
    if needed - LIBRARIES:
        sys.exit(f"the final image lacks {sorted(needed - LIBRARIES)}")
    if newest > GLIBC:
        sys.exit(f"the final image has glibc {GLIBC}, the binary needs {newest}")


def make_root(binary):
    """A root folder with nothing but what the final stage has."""
    root = WORK / "root"
    shutil.rmtree(root, ignore_errors=True)
    paths = re.findall(r"(/\S+) \(0x", output("ldd", binary))
    for source, target in [(binary, "/usr/bin/kaneda"), *((path, path) for path in paths)]:
        place = root / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    data = root / "var/lib/kaneda"
    data.mkdir(parents=True)
    os.chown(data, USER, USER)
    return root


def run(root):
    """Starts the daemon as the image does, sends it a report, asks for its health, and ends it."""
    variables = dict(re.findall(r"(KANEDA_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    # The image's own ports may be taken on this machine.
    variables = {name: re.sub(r":\d+$", ":0", value) for name, value in variables.items()}

    def enter(*command):
        # Not chroot(8) --userspec, which looks for a database of users.
        def inside():
            os.chroot(root)
            os.chdir("/var/lib/kaneda")
            os.setgroups([])
            os.setgid(USER)
            os.setuid(USER)
        return dict(args=["/usr/bin/kaneda", *command], preexec_fn=inside, env=variables, text=True)

    daemon = subprocess.Popen(**enter(), stderr=subprocess.PIPE)
    try:
        said = {}
        for line in daemon.stderr:
            print(line, end="")
            for name in ("udp", "admin"):
                if found := re.search(rf"^kaneda: (?:source )?{name}\b.* on (\S+)$", line):
                    said[name] = found[1]
            if "admin" in said:
                break
        else:
            sys.exit("the daemon ended without a word about its admin address")
        port = said["admin"].rsplit(":", 1)[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"image.test:1|c", ("127.0.0.1", int(said["udp"].rsplit(":", 1)[1])))
        subprocess.run(**enter("health", "--url", f"http://127.0.0.1:{port}/health"), check=True)
    finally:
        daemon.terminate()
        daemon.stderr.read()
        code = daemon.wait(timeout=20)
    if code != 0:
        sys.exit(f"the daemon ended with {code}")
    if not (root / "var/lib/kaneda/kaneda-data/reports.db").exists():
        sys.exit("the report was not stored")


def main():
    binary = build()
    check_needs(binary)
    if os.geteuid() != 0:
        print("not root: the binary is not run alone")
        return
    run(make_root(binary))


if __name__ == "__main__":
    main()
