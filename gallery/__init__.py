"""The drawn portraits that ship with avacast; `gallery.json` names them. Data only, no code."""
