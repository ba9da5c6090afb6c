"""JSON views, and their renderers: text, Markdown, pull-request comments, HTML."""
