"""What went wrong, taken out of the groups that nurseries wrap it in."""


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group of groups: each nursery on the way has added one."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]
