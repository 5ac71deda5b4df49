"""The recipe of the pocket avatar: drawn faces, spoken sentences, and the networks trained on them."""
