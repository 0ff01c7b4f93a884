"""The command line: `loquor speak`, `voices`, `inspect`, `convert`, `doctor`."""
