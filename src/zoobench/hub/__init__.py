"""The Hugging Face Hub: where it is and whether it answers (`connection`), bytes that arrive whole (`transfer`), its cache on
disk (`cache`), and what is fetched of a model (`snapshots`)."""
