"""Result in, page or table out: renderers decide nothing."""
