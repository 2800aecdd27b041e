"""The command line: one file per command. It starts fast, so heavy imports happen inside the commands' functions."""
