"""The command line: a demonstration, a benchmark, facts about the installation, the kernel cache."""
