"The benchmark runs at its smallest size and writes its table; how fast it was is nobody's business here."
import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_benchmark_runs_and_writes_its_table(tmp_path):
    out = tmp_path / "results.csv"
    out.write_text("name,value,baseline,ratio,unit,machine,versions,date\nkept,1,1,1,s,m,v,d\n")
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks/run.py"), "--size", "tiny", "--out", str(out)], capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "no GPU here: the GPU part is skipped" in done.stdout
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["name", "value", "baseline", "ratio", "unit", "machine", "versions", "date"] and rows[0]["name"] == "kept"
    for row in rows[1:]:
        assert abs(float(row["ratio"]) - float(row["value"]) / float(row["baseline"])) < 0.02 * float(row["ratio"]) and row["unit"] in ("s", "GiB")
    said = " ".join(row["name"] for row in rows)
    for part in ("encode in the loop", "full context", "bare encoder", "peak memory", "two processes / one", "all at once"):
        assert part in said, part
