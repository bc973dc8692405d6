"""What crosses a border: the shapes, names and errors that other programs depend on. Imports nothing of ours."""
