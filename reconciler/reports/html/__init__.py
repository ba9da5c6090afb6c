"""The one look of our pages: base template, parts, style, and how a page is made of them."""
