"""What reads monitoring/ lives in scripts/, which is no package's folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
