"""What exists: one module per stage; the file list is the data flow."""
