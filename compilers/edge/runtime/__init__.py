"""What every bundle carries: the C++ runtime and runner, and the Python loader."""
