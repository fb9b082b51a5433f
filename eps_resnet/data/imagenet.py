"""ImageNet, given by the user: a folder of JPEG files or the official tars, listed, checked, and read in place.

The images are not copied. The store holds one listing that is the same for the folder and the tars; where the images
lie on this machine stands in a file of its own.
"""

import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from eps_resnet.data import class_folders, store
from eps_resnet.data.accepted_digests import differing
from eps_resnet.data.archive import contents, plain_files
from eps_resnet.data.class_folders import LARGEST_IMAGE, SUFFIX, Skipped
from eps_resnet.data.listing import FOLDERS, Listing, Member, listed, sample_sha256
from eps_resnet.data.manifest import DataManifest
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Archive, DataSet
from eps_resnet.files import tensors
from eps_resnet.files.errors import UserError, some

# The official archives (Russakovsky et al. 2015, the challenge of 2012). Their MD5s are in the registry.
TRAIN_TAR, TEST_TAR, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
TARS = (TRAIN_TAR, TEST_TAR, DEVKIT)
CLASS_TABLE, TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"  # in the devkit
CORRUPT_SHARE = 0.001  # above this share of images that cannot be decoded, a copy is refused; ours
DEVKIT_UNPACKED = 256 << 20  # the most bytes that the development kit may unpack to; it has 2.5 MB packed
NAMED = 10  # corrupt images that a message names


def fetch(layout: Layout, dataset: str, data: DataSet, source: str | None) -> DataManifest:
    """Lists and checks a copy of ImageNet in place, and stores the listing; the images stay where they are.

    Raises UserError if the copy is not an accepted one: a class or images are missing, an archive's MD5 or the sampled
    checksum is wrong, or too many images cannot be decoded. Whatever was stored before stays.
    """
    from eps_resnet.data.decode import undecodable  # its libraries need a second, which other data sets save

    listing, archive = _listing(dataset, data, source)
    corrupt = {name: undecodable(split) for name, split in listing.items()}
    names = [listing[name].name(i) for name in listing for i in corrupt[name]]
    if len(names) > CORRUPT_SHARE * (archive.train_images + archive.test_images):
        raise UserError(
            f"{source}: {len(names)} of {archive.train_images + archive.test_images} images cannot be decoded, more "
            f"than {CORRUPT_SHARE:.1%}: {some(names, NAMED)}. Expected 8-bit RGB in one frame: get these files anew."
        )
    sample = sample_sha256(listing)
    if archive.sample_sha256 not in (None, sample):
        raise UserError(
            f"{source} is not copy {archive.name!r} of {dataset}: its sampled checksum is {sample}, "
            f"expected {archive.sample_sha256}. Images were altered or exchanged."
        )
    if names:
        print(f"{source}: left out, as they cannot be decoded: {some(names, NAMED)}.", file=sys.stderr)
        listing = {name: split.without(set(corrupt[name])) for name, split in listing.items()}
        sample = sample_sha256(listing)
    offsets = {name: split.offsets for name, split in listing.items() if split.offsets is not None}
    places = {name: str(split.place.resolve()) for name, split in listing.items()}
    tensors.write(layout.image_location(dataset), offsets, places)
    parts = ("names", "sizes", "labels")
    stored = {f"{name}_{part}": getattr(split, part) for name, split in listing.items() for part in parts}
    return store.save(layout, dataset, stored, archive, names, sample_sha256=sample)


def _listing(dataset: str, data: DataSet, source: str | None) -> tuple[Listing, Archive]:
    folder = Path(source) if source else None
    try:
        if folder is not None and class_folders.is_whole(folder):
            return _of_folder(folder, data)
        if folder is not None and all((folder / name).is_file() for name in TARS):
            return _of_tars(folder, data)
        found = "nothing was given" if folder is None else class_folders.found_instead(folder)
        found = f"{source} is an address" if source and "://" in source else found
    except OSError as error:  # nothing is written here, so it is no lack of space
        raise UserError(f"{error.filename or source} cannot be read: {error.strerror}.") from None
    raise UserError(
        f"Data set {dataset} is not downloaded: its images are for registered users. Give a folder with "
        f"train/<class>/*{SUFFIX} and val/<class>/*{SUFFIX}, or one with {TRAIN_TAR}, {TEST_TAR} and {DEVKIT}: "
        f"`eps-resnet fetch {dataset} --from PATH`, or `snakemake ... --config {dataset}=PATH`; {found}."
    )


def _of_folder(folder: Path, data: DataSet) -> tuple[Listing, Archive]:
    skipped = Skipped(SUFFIX)
    for group in FOLDERS.values():
        class_folders.require_class_folders(folder, group)
    members = {split: class_folders.members_of(folder, group, _is_image, skipped) for split, group in FOLDERS.items()}
    notes = [f"Skipped: {skipped}."] if str(skipped) else []
    if name := class_folders.unusual(members):
        notes.append(f"The first image that is not named like the official ones is {name}.")
    archive = _nearest(data, members)
    _check(folder, data, archive, members, " ".join(["", *notes]))
    if str(skipped):
        print(f"{folder}: skipped {skipped}.", file=sys.stderr)
    return listed(members, FOLDERS, dict.fromkeys(FOLDERS, folder)), archive


def _of_tars(folder: Path, data: DataSet) -> tuple[Listing, Archive]:
    archive = _verified_tars(folder, data)
    members = {
        "train": sorted(_train_members(folder / TRAIN_TAR)),
        "test": sorted(_test_members(folder / TEST_TAR, _test_classes(folder / DEVKIT))),
    }
    _check(folder, data, archive, members)
    return listed(members, FOLDERS, {"train": folder / TRAIN_TAR, "test": folder / TEST_TAR}), archive


def _is_image(name: str) -> bool:
    return name.endswith(SUFFIX)


def _train_members(path: Path) -> Iterator[Member]:
    """The training images: a tar of one tar for each class, read where they lie in the outer one."""
    with path.open("rb") as file:
        for name, tar in plain_files(file, path, path.stat().st_size, lambda name: name.endswith(".tar")):
            yield from _images(file, path, tar.offset_data + tar.size, name.removesuffix(".tar"))


def _test_members(path: Path, classes: list[str]) -> Iterator[Member]:
    """The validation images: a flat tar; the n-th by name has the n-th class."""
    with path.open("rb") as file:
        images = sorted(_images(file, path, path.stat().st_size, ""))
    if len(images) != len(classes):
        raise UserError(f"{path} has {len(images)} images, but {DEVKIT} classes for {len(classes)}.")
    return (image._replace(group=wnid) for wnid, image in zip(classes, images, strict=True))


def _images(file: BinaryIO, path: Path, end: int, wnid: str) -> Iterator[Member]:
    """The images of the tar that begins where `file` stands and ends at `end` at the latest."""
    for name, member in plain_files(file, path, end, _is_image):
        if member.size > LARGEST_IMAGE:
            raise UserError(f"{path} has {name!r} of {member.size} bytes; expected at most {LARGEST_IMAGE}.")
        yield Member(wnid, name, member.size, member.offset_data)


def _test_classes(devkit: Path) -> list[str]:
    """The class of each validation image, in the order of their names."""
    files = contents(devkit, (CLASS_TABLE, TRUTH), DEVKIT_UNPACKED, "the official development kit")
    wnids = _wnids(files[CLASS_TABLE])
    return [wnids[int(number)] for number in files[TRUTH].split()]


def _wnids(table: bytes) -> dict[int, str]:
    """The class's name for each number. `_verified_tars` has verified the kit: scipy trusts what it reads."""
    from scipy.io import loadmat  # takes a quarter of a second to import, which other data sets save

    synsets = loadmat(io.BytesIO(table), squeeze_me=True)["synsets"]
    return {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}


def _verified_tars(folder: Path, data: DataSet) -> Archive:
    """The accepted copy whose MD5s the three archives have. Raises UserError naming each that differs."""
    found = {name: _md5(folder / name) for name in TARS}
    accepted = [archive for archive in data.archives if archive.md5]
    for archive in accepted:
        if archive.md5 == found:
            return archive
    wrong = differing(found, [archive.md5 for archive in accepted], "MD5")
    raise UserError(f"{folder} has no accepted copy: {wrong}.")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _nearest(data: DataSet, members: dict[str, list[Member]]) -> Archive:
    """The accepted copy that a folder may be: the one nearest in its number of classes."""
    count = len({member.group for part in members.values() for member in part})
    return min(data.archives, key=lambda archive: abs((archive.classes or data.classes) - count))


def _check(folder: Path, data: DataSet, archive: Archive, members: dict[str, list[Member]], notes: str = "") -> None:
    """Raises UserError if classes or images are missing or superfluous, naming them where both splits tell.

    `notes`: what else is unusual about the folder.
    """
    copy, expected = f"copy {archive.name!r}", archive.classes or data.classes
    classes = {split: {member.group for member in part} for split, part in members.items()}
    if differing := sorted(classes["train"] ^ classes["test"]):
        lacking = [f"{wnid} has no images in {'train' if wnid in classes['test'] else 'val'}" for wnid in differing]
        raise UserError(f"{folder} is not {copy}: class {'; class '.join(lacking[:NAMED])}.{notes}")
    if len(classes["train"]) != expected:
        raise UserError(f"{folder} has {len(classes['train'])} classes, {copy} should have {expected}.{notes}")
    for split, images in (("train", archive.train_images), ("test", archive.test_images)):
        if len(members[split]) != images:
            raise UserError(
                f"{folder} has {len(members[split])} images in {FOLDERS[split]}, {copy} should have {images}.{notes}"
            )
