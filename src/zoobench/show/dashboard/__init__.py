"""The dashboard: Streamlit pages over results. They compute nothing of their own; `zoobench.results` reads, `zoobench.show`
writes, `zoobench.judge` compares.

`script` is what Streamlit runs; nothing outside this folder imports streamlit.
"""
