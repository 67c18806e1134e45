"""deploy/build says what it lacks before it compiles for twenty minutes. What it builds is too dear to be built here."""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Build(unittest.TestCase):
    def test_without_llvm_profdata_it_names_the_remedy_and_builds_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            for name, text in (("rustc", f"echo {folder}/sysroot"), ("cargo", f"touch {folder}/was-called")):
                (folder / name).write_text(f"#!/bin/sh\n{text}\n")
                (folder / name).chmod(0o755)
            (folder / "sysroot").mkdir()
            env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CARGO_TARGET_DIR": str(folder / "target")}
            done = subprocess.run([ROOT / "deploy/build"], env=env, capture_output=True, text=True)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("rustup component add llvm-tools", done.stderr)
            self.assertFalse((folder / "was-called").exists())


if __name__ == "__main__":
    unittest.main()
