"""Prepare NUS-WIDE. Its photographs are no longer served and must be given with --from; its four splits do not compare.

python data_scripts/nus_wide.py --root data --split asl --from FOLDER
"""

from typing import Annotated

import typer

from trmml_nb.datasets.prepare import PrepareJob, prepare_job


def main(
    root: Annotated[
        str, typer.Option(help="Folder for all prepared benchmarks; this one gets a folder of its own in it.")
    ] = "data",
    split: Annotated[str, typer.Option(help="official, labelled, asl or cole.")] = "official",
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
    "Write the labels of one of the four splits of NUS-WIDE as one table; the photographs must be given."
    try:
        prepare_job(
            PrepareJob(
                "nuswide",
                root=root,
                archives=archives,
                nus_split=split,
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
