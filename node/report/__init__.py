"""What an event came to: a page, the same in Markdown, plots, credits, and the figures that a paper needs.

    figures    the history summed up in numbers          plots     loss, contributors, throughput, versions, by matplotlib
    document   what is said, in blocks                   render    blocks as HTML and as Markdown
    write      all of it in one folder
"""
