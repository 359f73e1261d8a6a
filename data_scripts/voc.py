"""Prepare PASCAL VOC 2007 (trainval and test) or 2012 (train and val).

python data_scripts/voc.py --root data --year 2012
"""

from typing import Annotated

import typer

from trmml_nb.datasets.prepare import PrepareJob, prepare_job


def main(
    root: Annotated[
        str, typer.Option(help="Folder for all prepared benchmarks; this one gets a folder of its own in it.")
    ] = "data",
    year: Annotated[str, typer.Option(help="2007 or 2012.")] = "2007",
    archives: Annotated[
        str | None, typer.Option("--from", help="Folder with archives or unpacked files that you have already.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option(help="Go on without images that cannot be had; they are listed.")
    ] = False,
    allow_undecodable: Annotated[
        bool, typer.Option(help="Go on without images that cannot be decoded; they are listed.")
    ] = False,
    offline: Annotated[bool, typer.Option(help="Download nothing.")] = False,
    plan_only: Annotated[bool, typer.Option(help="Only say what would be done.")] = False,
):
    "Download, check and unpack PASCAL VOC, and write its labels as one table."
    try:
        prepare_job(
            PrepareJob(
                f"voc{year}",
                root=root,
                archives=archives,
                allow_missing=allow_missing,
                allow_undecodable=allow_undecodable,
                offline=offline,
                plan_only=plan_only,
            )
        )
    except ValueError as error:  # the library's own messages are for people
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    typer.run(main)
