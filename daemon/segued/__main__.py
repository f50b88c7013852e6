"""`python -m segued` is `segued`."""

import sys

from segued.main import main

sys.exit(main())
