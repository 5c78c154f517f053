"""The HTTP side: plain FastAPI over a ``Backend``; knows neither Ray nor torch.

request ──► envelope (id, headers, audit) ──► door (who) ──► upload (body, client gone) ──► a route ──► Backend
"""
