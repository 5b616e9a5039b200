"""How measuring is done: whose turn it is, what disturbs it, what the samples say, whether to believe them."""
