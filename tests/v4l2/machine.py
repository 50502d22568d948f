"""A virtual machine with a grabber: Debian's kernel under qemu, and this machine's own files and Python inside it.

No rights and no hardware are needed. The host's root is seen inside read-only; what a guest script writes to ``/mnt``
comes out. Boot, a script without imports, power-off: about ten seconds under software emulation.
"""

import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

KERNEL_FOLDER = "FLUOROGUIDE_KERNEL"
"""Environment variable: an unpacked kernel package, with boot/ and lib/modules/. Else the machine's own."""

NEEDED = ("vivid", "uvcvideo", "vhci-hcd", "9p", "9pnet_virtio", "virtio_pci")
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p")

_INIT = """#!/busybox sh
b=/busybox
$b mkdir -p /proc /sys /dev /host
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for m in $($b cat /boot.order); do $b insmod /modules/$m; done
o=trans=virtio,version=9p2000.L,msize=262144
$b mount -t 9p -o $o,ro,cache=loose root /host || $b poweroff -f
$b mount -t 9p -o $o out /host/mnt
$b mkdir -p /dev/shm
$b mount -t tmpfs shm /dev/shm
$b cp -r /modules /dev/shm/modules
for d in proc sys dev; do $b mount -o rbind /$d /host/$d; done
$b chroot /host /bin/sh /mnt/run.sh
$b sync
$b poweroff -f
"""


def missing() -> str | None:
    """What must be installed before a machine can be booted, in one line; None where all is there."""
    absent = [name for name in ("qemu-system-x86_64", "busybox") if shutil.which(name) is None]
    if absent:
        return f"{' and '.join(absent)}: apt-get install qemu-system-x86 busybox-static"
    if _kernel() is None:
        return f"no kernel with vivid and uvcvideo: unpack Debian's linux-image-*-amd64 and name it in {KERNEL_FOLDER}"
    return None


def run(script: Path, arguments: Iterable[str], modules: Iterable[str], out: Path, timeout_s: float) -> str:
    """Run a Python script of this repository inside, with ``modules`` loaded beforehand; what the console printed.

    ``out``: an existing folder, /mnt inside. A module may bring parameters: "vivid n_devs=1". Raises
    subprocess.TimeoutExpired.
    """
    kernel = _kernel()
    assert kernel is not None, missing()
    image, folder = kernel
    named = [module.partition(" ") for module in modules]
    order = _in_order(folder, [name for name, _, _ in named])
    options = {_plain(name): given for name, _, given in named}
    loads = "\n".join(
        f"/bin/busybox insmod /dev/shm/modules/{path.stem} {options.get(_plain(path.stem), '')}"
        for path in order
        if path not in _in_order(folder, BOOT_MODULES)
    )
    root = Path(__file__).parents[2]
    words = " ".join(f"'{word}'" for word in (sys.executable, str(script), *arguments))
    (out / "run.sh").write_text(
        f"{loads}\nexport PYTHONPATH='{root}' PYTHONDONTWRITEBYTECODE=1 HOME=/dev/shm TMPDIR=/dev/shm\n"
        f"cd /dev/shm && {words} > /mnt/stdout 2> /mnt/stderr; echo $? > /mnt/status\n"
    )
    initramfs = out / "initramfs"
    initramfs.write_bytes(_initramfs(folder, [*_in_order(folder, BOOT_MODULES), *order]))
    share = "security_model=none,multidevs=remap"
    done = subprocess.run(
        [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "2048", "-smp", "2"),
            *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-kernel", str(image), "-initrd", str(initramfs), "-append", "console=ttyS0 quiet panic=-1"),
            *(
                "-fsdev",
                f"local,id=root,path=/,readonly=on,{share}",
                "-device",
                "virtio-9p-pci,fsdev=root,mount_tag=root",
            ),
            *("-fsdev", f"local,id=out,path={out},{share}", "-device", "virtio-9p-pci,fsdev=out,mount_tag=out"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    return (done.stdout + done.stderr).decode(errors="replace")


def _kernel() -> tuple[Path, Path] | None:
    """The newest kernel image with its modules' folder that holds all that is needed."""
    root = Path(os.environ.get(KERNEL_FOLDER, "/"))
    for image in sorted((root / "boot").glob("vmlinuz-*"), reverse=True):
        folder = root / "lib/modules" / image.name.removeprefix("vmlinuz-")
        if folder.is_dir() and all(_find(folder, name) is not None for name in NEEDED):
            return image, folder
    return None


def _plain(name: str) -> str:
    return name.removesuffix(".ko").replace("-", "_")


def _find(folder: Path, name: str) -> Path | None:
    pattern = "[-_]".join(re.split("[-_]", name))
    return next((path for path in folder.rglob(f"{pattern}.ko*")), None)


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    return lzma.decompress(raw) if path.suffix == ".xz" else raw


def _in_order(folder: Path, names: Iterable[str]) -> list[Path]:
    """The modules of these names and all that they depend on, each after what it needs, but for what is built in."""
    order: list[Path] = []

    def add(name: str) -> None:
        path = _find(folder, name)
        if path is None or path in order:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", _content(path))
        for needed in depends[1].decode().split(",") if depends is not None and depends[1] else []:
            add(needed)
        order.append(path)

    for name in names:
        add(name)
    return order


def _initramfs(folder: Path, modules: list[Path]) -> bytes:
    """An archive (cpio, "newc") with busybox, the modules and what starts them."""
    boot = "\n".join(path.stem for path in _in_order(folder, BOOT_MODULES))
    busybox = Path(shutil.which("busybox") or "")
    files = {
        "init": (0o755, _INIT.encode()),
        "busybox": (0o755, busybox.read_bytes()),
        "boot.order": (0o644, boot.encode()),
        **{f"modules/{path.stem}": (0o644, _content(path)) for path in dict.fromkeys(modules)},
    }
    entries = [_entry("modules", stat.S_IFDIR | 0o755, b"")]
    entries += [_entry(name, stat.S_IFREG | mode, content) for name, (mode, content) in files.items()]
    return b"".join([*entries, _entry("TRAILER!!!", 0, b"")])


def _entry(name: str, mode: int, content: bytes) -> bytes:
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)
