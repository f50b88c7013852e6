"""Errors: the table of reasons, the classes it is made of, and their form on the wire."""

# ruff: noqa: F403 - the rows of the table are the interface of this package; naming them here would repeat the table

from segue_runtime.errors.base import *
from segue_runtime.errors.table import *
from segue_runtime.errors.wire import *
