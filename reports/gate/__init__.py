"""The gate's outputs: its document in, JUnit, Markdown, page and terminal out. They decide nothing."""
