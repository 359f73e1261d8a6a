"""Prepare COCO 2014: 82,081 annotated training images, or all 82,783 as the split train_all.

python data_scripts/coco2014.py --root data
"""

from typing import Annotated

import typer

from trmml_nb.datasets.prepare import PrepareJob, prepare_job


def main(
    root: Annotated[
        str, typer.Option(help="Folder for all prepared benchmarks; this one gets a folder of its own in it.")
    ] = "data",
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
    "Download (20 GB), check and unpack COCO 2014, and write its labels as one table."
    try:
        prepare_job(
            PrepareJob(
                "coco2014",
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
