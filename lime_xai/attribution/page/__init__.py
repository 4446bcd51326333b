"""HTML pages: relevance to click through, in one file that needs no network."""
