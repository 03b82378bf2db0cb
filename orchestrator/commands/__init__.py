"""The commands, one module each; the command line imports one when it is called."""
