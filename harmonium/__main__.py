"""`python -m harmonium`: the command line, for where its script is not on the path."""

import sys

from harmonium.cli.main import main

sys.exit(main())
