"""Prepare VG-200: the first 200 categories of SSGRL's lists. The names of its categories are not public.

python data_scripts/visual_genome.py --root data
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
    "Download (15 GB), check and unpack Visual Genome, and write the labels of VG-200 as one table."
    try:
        prepare_job(
            PrepareJob(
                "vg200",
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
